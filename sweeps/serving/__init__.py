"""Lanes on one device, fed by messages. Knows neither Optuna nor Ray."""
