"""An existing engine (Ray, or Slurm through submitit) that runs one task for each SAE."""
