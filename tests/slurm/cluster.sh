#!/bin/sh
# A SLURM of one node on this machine: munged, slurmctld, slurmd, all of them in one folder and on the loopback.
#
#   cluster.sh start FOLDER [CPUS]     writes FOLDER/slurm.conf and starts it; then SLURM_CONF=FOLDER/slurm.conf sinfo
#   cluster.sh restart FOLDER          kills the controller with -9 and starts it again
#   cluster.sh stop FOLDER
#
# As root; Debian: apt-get install slurmctld slurmd slurm-client munge. No cgroups, no accounting: what a container has.
set -eu

command=$1
folder=$2
cpus=${3:-4}
export SLURM_CONF="$folder/slurm.conf"

pid() { cat "$folder/$1.pid" 2>/dev/null || true; }

end() { # NAME SIGNAL: and wait until it is gone
    number=$(pid "$1")
    [ -n "$number" ] || return 0
    kill "-$2" "$number" 2>/dev/null || true
    for _ in $(seq 100); do
        kill -0 "$number" 2>/dev/null || break
        sleep 0.1
    done
    rm -f "$folder/$1.pid"
}

controller() { slurmctld -f "$SLURM_CONF"; }

case $command in
start)
    mkdir -p "$folder/state" "$folder/spool" "$folder/munge"
    chmod 755 "$folder"
    chmod 700 "$folder/munge"
    dd if=/dev/urandom of="$folder/munge/key" bs=1 count=1024 2>/dev/null
    chmod 400 "$folder/munge/key"
    port=$((20000 + $$ % 20000))
    cat >"$SLURM_CONF" <<END
ClusterName=test
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
CredType=cred/munge
SlurmctldPort=$port
SlurmdPort=$((port + 1))
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
CommunicationParameters=NoAddrCache
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
SchedulerParameters=batch_sched_delay=0,sched_interval=2
MinJobAge=10
KillWait=5
SlurmdTimeout=60
NodeName=$(hostname) NodeAddr=127.0.0.1 CPUs=$cpus State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
    munged --socket "$folder/munge/socket" --key-file "$folder/munge/key" --pid-file "$folder/munged.pid" \
        --log-file "$folder/munge/log" --seed-file "$folder/munge/seed" --force
    controller
    slurmd -f "$SLURM_CONF"
    for _ in $(seq 300); do
        sinfo --noheader --format=%t 2>/dev/null | grep -q idle && exit 0
        sleep 0.1
    done
    echo "the node does not become idle; see $folder/slurmctld.log and $folder/slurmd.log" >&2
    exit 1
    ;;
restart)
    end slurmctld KILL
    controller
    ;;
stop)
    scancel --user=root 2>/dev/null || true
    end slurmd TERM
    end slurmctld TERM
    end munged TERM
    ;;
*)
    sed -n '2,6p' "$0" >&2
    exit 2
    ;;
esac
