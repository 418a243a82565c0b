"""How far people agree on what an image shows, and which class is most likely the true one.

Everything here works on a plain table of (image, annotator, class), and knows nothing of Label Studio.
"""
