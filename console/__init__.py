"""What people touch: the alert feed, history in SQL, the proof that every frame is accounted for."""
