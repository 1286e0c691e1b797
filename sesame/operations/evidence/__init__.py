"""Evidence for auditors: a framework's measures, with figures and exceptions."""
