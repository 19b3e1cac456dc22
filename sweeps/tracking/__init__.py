"""What MLflow gets, and how it gets there. No other wing imports mlflow."""
