// The editor of Prometheus' and Grafana's pages completes from a server: its own client, and what it offers at a place.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

// Each of them once: in node the editor's package is CommonJS, and takes the others as such.
const require = createRequire(import.meta.url);
const { PromQLExtension } = require('@prometheus-io/codemirror-promql');
const client = require('@prometheus-io/codemirror-promql/dist/cjs/client/prometheus.js');
const { CompletionContext } = require('@codemirror/autocomplete');
const { EditorState } = require('@codemirror/state');

const url = process.argv[2];
const remote = {
  url,
  fetchFn: fetch,
  httpErrorHandler: (error) => {
    throw error;
  },
};
const server = new client.HTTPPrometheusClient(remote);
const names = await server.metricNames();
assert(names.includes('node_cpu_seconds_total'), names.join());
assert((await server.labelNames('node_cpu_seconds_total')).includes('mode'));
assert((await server.labelValues('mode', 'node_cpu_seconds_total')).includes('idle'));
assert(Object.values(await server.metricMetadata()).some(([one]) => one.type === 'counter'));
assert((await server.series('node_cpu_seconds_total')).length > 10);
assert('query.lookback-delta' in (await server.flags()));

const extension = new PromQLExtension().setComplete({ remote }).activateLinter(true);
// What is offered where `|` stands.
const offered = async (text) => {
  const state = EditorState.create({ doc: text.replace('|', ''), extensions: [extension.asExtension()] });
  const found = await extension.complete.promQL(new CompletionContext(state, text.indexOf('|'), true));
  return found.options.map((one) => one.label);
};
for (const [text, label] of [
  ['node_cp|', 'node_cpu_seconds_total'],
  ['sum by (|) (node_cpu_seconds_total)', 'mode'],
  ['node_cpu_seconds_total{|}', 'mode'],
  ['node_cpu_seconds_total{mode="|"}', 'idle'],
]) {
  const labels = await offered(text);
  assert(labels.includes(label), `${text}: ${labels.slice(0, 20)}`);
}
console.log(`codemirror-promql: ${names.length} metrics, completion at four places`);
