"""The only way out of the mesh: a client that cannot be talked into calling the mesh, the machine or the intranet.

``targets`` reads a URL strictly, ``addresses`` knows which addresses are public, ``policy`` decides, ``connector`` sees
to it that the address decided upon is the address connected to, ``redirects`` and ``bodies`` bound what comes back.
"""
