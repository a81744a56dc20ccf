"""What `s2s bench` runs: speed as ratios within one run, since absolute figures drift with the machine."""
