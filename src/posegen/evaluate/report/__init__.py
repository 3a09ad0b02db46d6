"""Reports: scores as tables, text and pages."""
