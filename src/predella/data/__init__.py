"""Pictures from wherever the user keeps them, as seeded, exactly resumable batches."""
