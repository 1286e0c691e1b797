"""Evidence for an auditor: measures of a framework, with query, figure and exceptions."""
