"""What is known of a fine-tuned model: the report on it, its page, and the gate that judges by it. No Prefect."""
