"""The bench on the test cluster: the cluster, what is measured, and the scenes."""
