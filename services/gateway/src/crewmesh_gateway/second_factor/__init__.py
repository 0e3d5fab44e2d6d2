"""The second factor: codes of an app on somebody's phone, and recovery codes for when the phone is gone."""
