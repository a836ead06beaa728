"""The stages of a fine-tuning run, one a file: prepare, features, baselines, train, answer, evidence, register."""
