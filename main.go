// Command lathe is a terminal workbench for fine-tuning open-weight language models.
package main

func main() {}
