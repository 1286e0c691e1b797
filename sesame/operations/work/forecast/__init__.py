"""The forecast: what was measured, the model, the report, and what was promised."""
