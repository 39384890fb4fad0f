from pipeline_core.tracking.mlflow.client import MlflowTracking as Backend

__all__ = ["Backend"]
