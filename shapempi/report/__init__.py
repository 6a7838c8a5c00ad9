"""Progress, status, summaries and figures."""
