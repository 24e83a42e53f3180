"""Looking at results: the web page, and the same for Grafana."""
