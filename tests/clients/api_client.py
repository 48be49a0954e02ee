"""prometheus-api-client asks a server that shows runs as if they ended now."""

import datetime
import sys

from prometheus_api_client import MetricRangeDataFrame, MetricSnapshotDataFrame, PrometheusConnect

server = PrometheusConnect(url=sys.argv[1], disable_ssl=True)
assert server.check_prometheus_connection()
names = server.all_metrics()
assert "node_cpu_seconds_total" in names, names
assert {"mode", "run"} <= set(server.get_label_names())
assert server.get_label_values("run") == ["cilium-scale-up-1", "iptables-scale-up-1"]

now = datetime.datetime.now(datetime.timezone.utc)
times = {"start_time": now - datetime.timedelta(minutes=4), "end_time": now}
by_run = server.custom_query("sum by (run) (node_cpu_seconds_total)")
assert sorted(one["metric"]["run"] for one in by_run) == ["cilium-scale-up-1", "iptables-scale-up-1"], by_run
course = server.custom_query_range("sum by (run) (rate(node_cpu_seconds_total[30s]))", step="15", **times)
assert len(course) == 2 and all(len(one["values"]) > 3 for one in course), course
samples = server.get_metric_range_data("node_cpu_seconds_total", chunk_size=datetime.timedelta(minutes=4), **times)
frame = MetricRangeDataFrame(samples)
assert len(frame) > 100 and frame["value"].astype(float).notna().all()
snapshot = MetricSnapshotDataFrame(server.get_current_metric_value("node_cpu_seconds_total"))
assert len(snapshot) > 10
aggregated = server.get_metric_aggregation("sum(node_cpu_seconds_total)", ["max", "average", "percentile_95"], step="15", **times)
assert aggregated["max"] >= aggregated["average"] > 0, aggregated
print(f"prometheus-api-client: {len(names)} metrics, {len(frame)} samples")
