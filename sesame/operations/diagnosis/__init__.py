"""What is known of one person, from the pipeline's records: where each target stands, why, and what next."""

from sesame.operations.diagnosis.person import PersonStatus, TargetStatus, person_status
from sesame.operations.diagnosis.reasons import explain

__all__ = ["PersonStatus", "TargetStatus", "explain", "person_status"]
