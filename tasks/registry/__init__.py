"""From a fine-tuned model to the one in production: the gate, MLflow versions, promotions and their log. No Prefect."""
