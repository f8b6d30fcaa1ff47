"""What Rollpoint costs, beside the bare rsync and beside its peers, on the same data in the same run.

`bash tests/bench/run` or, as root with everything installed, `python -m tests.bench`. Nothing here ever fails
for being slow: the tables say what was measured, and by how much a target was missed.
"""
