"""What a person reads: pictures, tables and pages."""
