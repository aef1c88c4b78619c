"""One file per claim that is a figure: `python -m benchmarks list` names them, `… NAME` runs one."""
