#!/usr/bin/env bash
# The source document's procedure on this machine: real iptables in a network namespace of its own, states of a scale-up loaded at
# known moments, and beside them what somebody has who types what the document says. Run by tests/typed.rs: unshare -n bash scale_up.sh FOLDER
set -eu
cd "$1"
# Whatever ends this script ends its loops too: a loop that is left over would hold the caller's pipe open for ever.
trap 'touch stop' EXIT
mkdir -p loop recording services
chain=KUBE-SVC-AAAAAAAAAAAAAAAA

# The rules of kube-proxy for a Service with so many endpoints.
state() {
  {
    echo '*nat'
    echo ':KUBE-SERVICES - [0:0]'
    echo ":$chain - [0:0]"
    for i in $(seq 1 "$1"); do printf ':KUBE-SEP-%016d - [0:0]\n' "$i"; done
    echo "-A KUBE-SERVICES -d 10.96.0.5/32 -p tcp -m comment --comment \"default/test:http cluster IP\" -m tcp --dport 80 -j $chain"
    for i in $(seq 1 "$1"); do
      printf -- '-A %s -m comment --comment "default/test:http -> 10.244.0.%d:8080" -j KUBE-SEP-%016d\n' "$chain" "$i" "$i"
      printf -- '-A KUBE-SEP-%016d -p tcp -m comment --comment "default/test:http" -m tcp -j DNAT --to-destination 10.244.0.%d:8080\n' "$i" "$i"
    done
    echo COMMIT
  } | iptables-legacy-restore --wait 10
}

state 1
( while [ ! -e stop ]; do date; iptables-legacy --wait 10 -t nat -L $chain -v -n; sleep 0.3; done ) > loop/chain.log 2> loop.errors &
( while [ ! -e stop ]; do date +%s.%N; iptables-legacy --wait 10 -t nat -L KUBE-SERVICES -v -n -x; sleep 0.3; done ) > services/services.log 2> services.errors &
TERM=xterm-256color script -q -c "stty cols 200 rows 50; timeout 14 watch -n 0.5 'iptables-legacy -t nat -L $chain -v -n'" recording/watch.typescript > script.log 2>&1 < /dev/null &
sleep 2
{
  echo 'root@node-a:~# date +%s.%N; kubectl scale deploy/test --replicas=11; date +%s.%N'
  date +%s.%N
  sleep 0.05
  echo 'deployment.apps/test scaled'
  date +%s.%N
} > loop/scale.txt
cp loop/scale.txt recording/scale.txt
cp loop/scale.txt services/scale.txt
for count in 2 5 11; do
  sleep 0.9
  date +%s.%N > before
  state "$count"
  date +%s.%N > after
done
sleep 7.5
touch stop
wait
