"""What is in force and since when: the audit log, decisions, what is looser and what tighter, what rules give."""
