"""One archive that holds what a mesh knows: written while it runs, checked before it is trusted, put back at once.

What belongs together is of one moment, the database's snapshot. Blobs never change once written, so they are copied
before and after it. The topics are read from the oldest message that somebody had still to deal with; a message that is
delivered twice because of that is noticed by its consumer's inbox. Dapr's scheduler is left out: what it would wake is
in the database too (docs/adr/0003), and reminders of a later time must not reach an earlier state.
"""
