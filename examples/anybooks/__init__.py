"""The on-campus bookstore AnyBooks: sales transactions with injected anomalies."""
