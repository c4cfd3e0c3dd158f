#!/bin/sh
# A SLURM of one node on this machine, for tests/test_slurm.py and for trying a cluster.yaml. As root:
#   apt-get install slurmctld slurmd slurm-client munge
#   tests/slurm.sh start && export SLURM_CONF=/tmp/slurm-of-one/slurm.conf
#   tests/slurm.sh stop
set -eu
place=/tmp/slurm-of-one
export SLURM_CONF=$place/slurm.conf
stop() {
  for name in slurmd slurmctld munged; do
    if [ -s $place/$name.pid ]; then kill "$(cat $place/$name.pid)" 2>/dev/null || true; fi
  done
}
case ${1:-} in
stop) stop; sleep 1; rm -rf $place ;;
start)
  mkdir -p $place/state $place/spool
  chmod 755 $place
  cat > $SLURM_CONF <<END
ClusterName=one
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
AuthType=auth/munge
AuthInfo=socket=$place/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$place/state
SlurmdSpoolDir=$place/spool
SlurmctldPidFile=$place/slurmctld.pid
SlurmdPidFile=$place/slurmd.pid
SlurmctldLogFile=$place/slurmctld.log
SlurmdLogFile=$place/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
SchedulerParameters=sched_interval=1,batch_sched_delay=0
NodeName=$(hostname) NodeAddr=127.0.0.1 CPUs=4 RealMemory=2000 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
  dd if=/dev/urandom bs=1 count=1024 of=$place/munge.key 2>/dev/null
  chmod 600 $place/munge.key
  munged --force --key-file=$place/munge.key --socket=$place/munge.socket --pid-file=$place/munged.pid \
    --log-file=$place/munged.log --seed-file=$place/munged.seed
  slurmctld -f $SLURM_CONF
  slurmd -f $SLURM_CONF
  for _ in $(seq 50); do
    sinfo -h -o %T 2>/dev/null | grep -q idle && exit 0
    sleep 0.2
  done
  sinfo
  exit 1
  ;;
*) echo "tests/slurm.sh start|stop"; exit 2 ;;
esac
