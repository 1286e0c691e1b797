"""Diagnosis of one person from the pipeline's records: each target, why, and next."""
