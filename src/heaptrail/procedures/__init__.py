"""Driving a device: the only places with deadlines, retries and a clock. They write a capture and nothing else."""
