"""What Sésame is measured beside: each a program of its own, which imports nothing of ours."""
