"""Migrations: of the kernel's tables in every plugin's database, and of the kernel's own database."""
