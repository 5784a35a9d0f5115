"""Tests that run chatml as a person does: as a program, on real repositories, with the real agent."""
