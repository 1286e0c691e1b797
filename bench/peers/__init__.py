"""Peers of Sésame in the benchmarks: programs that import nothing of ours."""
