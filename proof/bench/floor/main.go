// Floor does nothing. It shows the cost of starting and ending any Go program.
package main

func main() {}
