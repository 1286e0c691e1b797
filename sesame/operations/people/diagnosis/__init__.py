"""What is known of one person, from the pipeline's records: where each target stands, why, and what next."""
