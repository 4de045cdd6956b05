"""The bodies of our operators: the same in ordinary ones, for runtimes without our plugins, in the text form of ONNX.

They are written for clarity and exactness, not for speed: they hold every mask in float32.
"""
