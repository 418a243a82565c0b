#!/bin/bash
# sbatch configs/slurm/several_nodes.sh configs/training/baseline.yaml --set dataset=DATASET --out runs/baseline
#
# Several machines, one process per GPU: change the counts below together. The run folder and the dataset must be on a drive
# that all of them see. What follows the script's name goes to `pelagia train`. The batch size is that of all GPUs
# together, so the result does not depend on their number.
#SBATCH --job-name=pelagia
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=12:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=pelagia-%j.log

# Two minutes before the time is over, or if the job must give way, Slurm sends SIGTERM: the run writes a checkpoint and
# ends. The same command, or Slurm's requeue, resumes it.
set -euo pipefail
PELAGIA=${PELAGIA:-.venv/bin/pelagia}
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-8}
exec srun --kill-on-bad-exit=1 "$PELAGIA" train --set device=cuda "$@"
