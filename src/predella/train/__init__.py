"""The trainer knows phases and batches; it imports no paper."""
