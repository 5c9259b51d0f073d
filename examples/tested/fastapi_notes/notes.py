"""Notes: FastAPI, users in a table of SQLAlchemy, a WebSocket that ends with its session."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, WebSocket
from sqlalchemy import ForeignKey, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import StaticPool

from moonkey_core import AsyncMoonKey
from moonkey_starlette import MoonKeyMiddleware
from moonkey_starlette.fastapi import CurrentUser, RequireAuth

engine = create_engine("sqlite://", connect_args={"check_same_thread": False}, poolclass=StaticPool)


class Base(DeclarativeBase):
    pass


class Person(Base):
    __tablename__ = "people"

    id: Mapped[int] = mapped_column(primary_key=True)
    moonkey_id: Mapped[str] = mapped_column(unique=True)


class Note(Base):
    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"))
    text: Mapped[str]


def database() -> Iterator[Session]:
    with Session(engine) as session:
        yield session


Database = Annotated[Session, Depends(database)]


def current_person(user: CurrentUser, session: Database) -> Person:
    found = session.scalar(select(Person).where(Person.moonkey_id == user.id))
    if found is None:
        found = Person(moonkey_id=user.id)
        session.add(found)
        session.commit()
    return found


CurrentPerson = Annotated[Person, Depends(current_person)]
router = APIRouter(prefix="/notes")


@router.get("")
def notes(person: CurrentPerson, session: Database) -> list[str]:
    return list(session.scalars(select(Note.text).where(Note.person_id == person.id)))


@router.post("", status_code=201)
def add(text: str, person: CurrentPerson, session: Database) -> str:
    session.add(Note(person_id=person.id, text=text))
    session.commit()
    return text


@router.delete("", dependencies=[Depends(RequireAuth(permissions={"notes:delete"}))])
async def delete() -> str:
    return "deleted"


@router.post("/publish", dependencies=[Depends(RequireAuth(factors={"totp"}))])
async def publish() -> str:
    return "published"


app = FastAPI()
app.add_middleware(
    MoonKeyMiddleware,
    client=AsyncMoonKey(secret_key="sk_live_of_the_notes", jwt_issuer="https://auth.example.com", cookies=True),
)
app.include_router(router)


@app.websocket("/live")
async def live(websocket: WebSocket, user: CurrentUser) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(f"{user.id}: {text}")
