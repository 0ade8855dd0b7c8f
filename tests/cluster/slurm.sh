#!/usr/bin/env bash
# A batch on a real Slurm: a controller and two nodes on loopback. One of four shards is lost, found by `merge` and run again; the
# result is the same to the byte as that of one run on one machine. Not among the default tests: it needs Debian's slurm-wlm and
# munge (`apt-get install slurm-wlm munge`), and a release build.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
bin=$root/target/release/alpha-arena
for tool in slurmctld slurmd sbatch munged; do
    command -v "$tool" >/dev/null || { echo "slurm.sh: $tool is missing (apt-get install slurm-wlm munge)" >&2; exit 2; }
done
[ -x "$bin" ] || { echo "slurm.sh: no release build" >&2; exit 2; }

dir=$(mktemp -d)
chmod 755 "$dir"
pids=()
finish() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    [ "${KEEP:-}" ] && echo "kept $dir" || rm -rf "$dir"
}
trap finish EXIT
fail() { echo "slurm.sh: $*" >&2; for log in "$dir"/*.log "$dir"/out/*; do echo "$log:"; tail -n 5 "$log"; done >&2 2>/dev/null || true; exit 1; }
wait_for() { # what, command
    for _ in $(seq 300); do eval "$2" >/dev/null 2>&1 && return; sleep 0.2; done
    fail "waited in vain for $1"
}

# A key and a socket of our own: nothing of this machine's is touched.
dd if=/dev/urandom of="$dir/munge.key" bs=1024 count=1 2>/dev/null
chmod 400 "$dir/munge.key"
munged --force --foreground --key-file="$dir/munge.key" --socket="$dir/munge.sock" --pid-file="$dir/munged.pid" \
    --seed-file="$dir/munge.seed" --log-file="$dir/munged.log" >/dev/null 2>&1 &
pids+=($!)
wait_for "munged" "[ -S $dir/munge.sock ]"

host=$(hostname -s)
base=$((20000 + RANDOM % 20000))
mkdir -p "$dir/ctld" "$dir/spool-n1" "$dir/spool-n2"
cat >"$dir/slurm.conf" <<EOF
ClusterName=loopback
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$base
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$dir/munge.sock
CredType=cred/munge
StateSaveLocation=$dir/ctld
SlurmdSpoolDir=$dir/spool-%n
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd-%n.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
MpiDefault=none
ReturnToService=2
SlurmdTimeout=60
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((base + 1)) CPUs=1
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((base + 2)) CPUs=1
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:2
EOF
export SLURM_CONF=$dir/slurm.conf
slurmctld -D -i >/dev/null 2>&1 &
pids+=($!)
for node in n1 n2; do
    slurmd -D -N "$node" >/dev/null 2>&1 &
    pids+=($!)
done
wait_for "two idle nodes" "[ \"\$(sinfo -h -N -o %T | grep -c '^idle')\" = 2 ]"
sinfo

aa() { "$bin" --state-dir "$@"; }
aa "$dir/history" data generate --inst BTC-USDT-SWAP --bar 5m --bars 20000
search=(--strategy sma_cross --axis fast=5:45:5 --axis slow=50:240:20 --inst BTC-USDT-SWAP --bar 5m --limits off)

aa "$dir/history" backtest batch "${search[@]}" --json >"$dir/one.json"
aa "$dir/history" backtest export --out "$dir/one.csv" >/dev/null

export ARENA_SHARDS=$dir/shards ARENA_BIN=$bin ARENA_SHARD_COUNT=4
mkdir -p "$dir/shards" "$dir/out"
submit() { # tasks
    sbatch --parsable --export=ALL --array="$1" --output="$dir/out/%A-%a.txt" "$root/cluster/slurm.sbatch" \
        --history-dir "$dir/history" "${search[@]}"
}
job=$(submit 1,2,4)
wait_for "the array to end" "[ -z \"\$(squeue -h -j $job)\" ]"
ls "$dir/out" | sed 's/^/ran /'

rc=0
aa "$dir/all" backtest merge "$dir"/shards/* --shards 4 | tee "$dir/merge.txt" || rc=$?
[ "$rc" = 65 ] || fail "merge exits $rc with a shard lost"
grep -q -- "--shard 3/4" "$dir/merge.txt" || fail "the lost shard is not named"

job=$(submit 3)
wait_for "the lost shard" "[ -z \"\$(squeue -h -j $job)\" ]"
aa "$dir/all" backtest merge "$dir"/shards/* --shards 4
aa "$dir/all" backtest export --out "$dir/all.csv" >/dev/null
cmp "$dir/one.csv" "$dir/all.csv" || fail "the shards' runs differ from those of one machine"
grep -h -o '"run_now":[0-9]*' "$dir"/out/*.txt | sort | uniq -c
echo "slurm.sh: $(($(wc -l <"$dir/all.csv") - 1)) runs in four shards on two nodes, one lost and run again: identical to one run"
