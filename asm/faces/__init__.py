"""Faces: detection (MTCNN), five-point alignment, and the packed store of aligned crops."""
