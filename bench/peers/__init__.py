"""Peers of Sésame in the benchmarks: separate programs, which import nothing of ours."""
