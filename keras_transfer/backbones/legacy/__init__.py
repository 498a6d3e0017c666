"""Model and weight files of old Keras versions."""
