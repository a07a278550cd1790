// Floor does nothing: what any program of Go costs to start and to end.
package main

func main() {}
