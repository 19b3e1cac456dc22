"""What MLflow is told, and how it gets there. The only wing that imports mlflow."""
