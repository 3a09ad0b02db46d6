"""The folder of a job: what was asked for, what is finished, and which jobs there are."""
