"""Every telephone's configuration, rendered from the description. Pure.

`phones(clinic, secrets)` gives each telephone's own files, `shared(clinic)` those that anybody may read, and
`phonebooks(clinic)` the directory that each department sees.
"""

from clinic.rendering.phones.fleet import PhoneFiles as PhoneFiles
from clinic.rendering.phones.fleet import phones as phones
from clinic.rendering.phones.fleet import shared as shared
from clinic.rendering.phones.phonebook import phonebooks as phonebooks
